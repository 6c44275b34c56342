"""How the embedded model is made: rendered landscapes, their captions, and training on them."""
