"""What a sweep is about: the models, what they claim, what each costs, and what is settled already."""
