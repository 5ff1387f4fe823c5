"""habitus: instil chosen traits in a language model, from a traits document to a measured model."""

__version__ = "0.1.0"
