"""The demonstration: a scripted upstream behind the real proxy, shown token by token. No key, no network."""
