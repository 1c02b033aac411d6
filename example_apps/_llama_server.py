"""Run as a program: serves one model file with llama.cpp, until standard input ends.

A process of its own, because llama.cpp's server cannot be stopped from Python at any time: its destructor
does not return while a client reads a stream. Ending with standard input means that it never outlives the
program which started it, however that one ended. Says on standard output "ready URL" or "failed REASON".
"""

from __future__ import annotations

import os
import signal
import sys

MODEL_NAME = "smollm2-135m-instruct"


def main(model_path: str, port: int) -> None:
    # Ctrl-C reaches every process of the terminal; whether to stop is for the one that started us to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = model_path
        params.model_alias = {MODEL_NAME}
        params.hostnames = ["127.0.0.1"]
        params.port = port
        params.n_ctx = 4096
        params.n_parallel = 2
        # So small a model may ramble until its context is full; a request's own max_tokens still counts.
        params.n_predict = 256
        # llama.cpp's threads wait for each other by spinning: with all cores taken and anything else running,
        # a token takes seconds instead of milliseconds.
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, min(4, (os.cpu_count() or 1) // 2))
        params.cache_ram_mib = 0
        params.fit_params = False  # measures GPUs, and talks about it
        params.ui = False
        params.verbosity = -1
        server = xllamacpp.Server(params)
    except Exception as error:
        print("failed", " ".join(str(error).split()), flush=True)
        return
    print("ready", server.listening_address, flush=True)
    sys.stdin.buffer.read()
    # Not a return: see above, the destructor might never come back.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
