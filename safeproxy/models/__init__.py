"""Loading what has learnt: the models that rules name by their `detector`."""
