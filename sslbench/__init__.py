"""sslbench: self-supervised vision methods, one recipe each, measured under one protocol."""

__version__ = "0.1.0"
