# `make demo` and `make test` are all the set-up there is. Kept to what BSD make and GNU make 3.81 both understand.

CONFIG = config/modelproxy.yaml
SECONDS = 600
BODIES = 1000000
SEED = 1
JOBS = 2
SPREAD = -n $(JOBS) --dist loadfile --no-loadscope-reorder
SERVERS = tests/real/test_mlserver.py tests/real/test_kserve.py tests/real/test_mlflow.py tests/real/test_judged_iris.py
BUT_SERVERS = --ignore tests/real/test_mlserver.py --ignore tests/real/test_kserve.py --ignore tests/real/test_mlflow.py --ignore tests/real/test_judged_iris.py
PYTHONS = python3.13 python3.12 python3.11 python3
VENV = .venv
PY = $(VENV)/bin/python
READY = $(VENV)/.ready

help:
	@echo "make demo         real models, real traffic and three rollouts, in about a minute"
	@echo "make test         the tests, in about six minutes on two cores (JOBS=2 at a time)"
	@echo "make test-long    those that take longer each: the whole demo, a fresh installation, real servers"
	@echo "make test-fast    the tests that start no processes"
	@echo "make check        formatting, lint, strict types, import arrows"
	@echo "make format       rewrite the sources the way 'make check' wants them"
	@echo "make serve        run the proxy (CONFIG=$(CONFIG))"
	@echo "make conformance  what it does with HTTP/1.1 and with faults, row by row: case, source, expected, got"
	@echo "make soak         traffic, reloads and kills for SECONDS=600, then all books compared (Linux)"
	@echo "make real         real model servers and unmodified clients, with and without the proxy: every byte compared"
	@echo "make real-servers the same with MLServer, KServe and MLflow (1.7 GB of packages)"
	@echo "make simulate     how often the engine errs and how long it takes: benchmarks/SIMULATION.md (a quarter of an hour on two cores)"
	@echo "make oracles      our statistics and comparisons next to gbstats, scipy, statsmodels, sacrebleu, rbo, pycocotools (450 MB of packages)"
	@echo "make bench        CPU, latency and memory next to HAProxy, nginx, Envoy, Traefik, aiohttp and LiteLLM: benchmarks/RESULTS.md"
	@echo "                  (Debian, as root; 20 minutes on two quiet cores)"
	@echo "make bench-quick  the same goals with fewer peers, in three minutes; writes nothing"
	@echo "make instructions  how many instructions a request takes, held against the record (needs valgrind)"
	@echo "make fuzz         a million mutated bodies of every format through the decoders (BODIES, SEED; some minutes)"
	@echo "make audit        known vulnerabilities of the pinned versions (asks PyPI)"
	@echo "make peers-table  who does what on the wire: this proxy, nginx, HAProxy, Envoy, Varnish (needs varnishtest)"
	@echo "make clean        remove what make made"

demo: $(READY)
	@$(PY) -m proxy demo

serve: $(READY)
	@$(PY) -m proxy serve $(CONFIG)

# Who looks at the clock waits until it has the machine alone (tests/turns.py). The tests start some hundred processes:
# with bytecode kept, as is usual, they start faster.
test: $(READY)
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -q $(SPREAD) -m "not long"

test-long: $(READY)
	@$(PY) -m pytest -q -m long

test-fast: $(READY)
	@$(PY) -m pytest -q $(SPREAD) -m "not slow and not long"

check: $(READY)
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest -q tests/test_structure.py

format: $(READY)
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

# Both tables are printed, also when the first has a row that nothing explains.
conformance: $(READY)
	@$(PY) -m tests.conformance; rows=$$?; $(PY) -m tests.faults && exit $$rows

soak: $(READY)
	@$(PY) -m tests.soak --seconds $(SECONDS)

# Servers and clients have environments of their own; naming them makes a missing one an error, not a skipped test.
real: $(READY)
	@$(PY) -m tests.real.install small
	@MODELPROXY_REAL=small $(PY) -m pytest -q tests/real $(BUT_SERVERS)

real-servers: $(READY)
	@$(PY) -m tests.real.install small mlserver kserve mlflow
	@MODELPROXY_REAL="small mlserver kserve mlflow" $(PY) -m pytest -q $(SERVERS)

simulate: $(READY)
	@$(PY) -m benchmarks.simulation

oracles: $(READY)
	@$(PY) -m tests.oracles.install
	@MODELPROXY_ORACLES=required $(PY) -m pytest -q tests/oracles

bench: $(READY)
	@$(PY) -m benchmarks.run

bench-quick: $(READY)
	@$(PY) -m benchmarks.run --quick

instructions: $(READY)
	@$(PY) -m benchmarks.instructions

# Exit code 3 of the module: no advisories could be had, so nothing is known.
# Seeded: what breaks comes back with the same BODIES and SEED.
fuzz: $(READY)
	@$(PY) -m tests.compare.fuzz --bodies $(BODIES) --seed $(SEED)

audit: $(READY)
	@$(PY) -m tests.audit

peers-table: $(READY)
	@$(PY) -m tests.peers

clean:
	rm -rf $(VENV) .venv-real .venv-oracles build dist benchmarks/.work .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find proxy tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Constraints go in by environment as well, so that the build backend is pinned too; newer versions of pip read
# the second name. The stamp is written last: an interrupted installation is simply done again.
$(READY): pyproject.toml constraints.txt
	@found=; bare=; \
	for python in $(PYTHONS); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$python; break; fi; \
	  bare=$$python; \
	done; \
	if [ -z "$$found" ] && [ -n "$$bare" ]; then \
	  echo "$$bare cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv), then run make again." >&2; exit 1; \
	elif [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer is needed (Debian: apt-get install python3 python3-venv; macOS: brew install python@3.13), then run make again." >&2; exit 1; \
	fi; \
	"$(PY)" -c '' >/dev/null 2>&1 || { rm -rf $(VENV) && echo "making $(VENV) with $$found" && "$$found" -m venv $(VENV); }
	@echo "installing pinned packages into $(VENV) (once, about half a minute)"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	  $(PY) -m pip install -q -c constraints.txt -e '.[demo,dev]'
	@touch $(READY)

.PHONY: help demo serve test test-fast test-long check format conformance soak real real-servers simulate oracles bench bench-quick instructions fuzz audit peers-table clean
