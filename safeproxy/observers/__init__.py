"""Those who are told what happened and cannot change it."""
