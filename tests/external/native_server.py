"""Serve a model with the C++ server of llama.cpp: `native_server.py FILE NAME WINDOW`. Needs the package `xllamacpp`."""

import sys
import threading

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.model_alias = {sys.argv[2]}
params.hostnames, params.port = ["127.0.0.1"], 0
# Two requests at once, each with a window of its own.
params.n_parallel, params.n_ctx = 2, 2 * int(sys.argv[3])
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.sampling.seed = 4
server = xllamacpp.Server(params)
print("serving on", server.listening_address, flush=True)
threading.Event().wait()
