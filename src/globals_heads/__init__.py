"""Does a globals head help a token autoencoder? One grid of latent spaces and loss weights."""

from importlib.metadata import version

__version__ = version("globals-heads")
