"""How far texts are apart in meaning: asks a server for their embeddings, where the configuration names one."""

from proxy.embedder.client import Embedder

__all__ = ["Embedder"]
