"""llama.cpp's own HTTP server. ``python -m tests.real.servers.llama PORT MODEL [embeddings | ranks]``."""

import signal
import sys

import xllamacpp

if __name__ == "__main__":
    wanted = xllamacpp.CommonParams()
    wanted.port = int(sys.argv[1])
    wanted.model.path = sys.argv[2]
    wanted.n_ctx = 1 << 17
    wanted.n_parallel = 2
    wanted.cpuparams.n_threads = 1
    wanted.warmup = False
    wanted.endpoint_metrics = True
    wanted.endpoint_slots = True
    # An answer must not depend on what was asked before.
    wanted.cache_prompt = False
    wanted.cache_ram_mib = 0
    if mode := sys.argv[3:]:
        pooling = xllamacpp.llama_pooling_type
        ranks = mode == ["ranks"]
        wanted.embedding = True
        wanted.n_ctx = 1 << 12
        wanted.pooling_type = pooling.LLAMA_POOLING_TYPE_RANK if ranks else pooling.LLAMA_POOLING_TYPE_MEAN
    running = xllamacpp.Server(wanted)
    signal.sigwait({signal.SIGTERM})
    # The destructor waits for generations under way; a test that ends has none it cares for.
    sys.stdout.flush()
    signal.raise_signal(signal.SIGKILL)
