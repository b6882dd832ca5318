# Everything that is run by hand. Options: PROFILE=smoke|laptop|paper|published, EXECUTOR=local|slurm|kubernetes|path/to/profile,
# GPU=number for each study, ACCELERATOR=cpu|cuda13, PYTHON=/path/to/python.
PROFILE ?= laptop
EXECUTOR ?= local
GPU ?= 0
ACCELERATOR ?=
PYTHON ?=
export PYTHON

# Containers often forbid Python to keep compiled modules. Each of our many processes would then compile all libraries anew.
unexport PYTHONDONTWRITEBYTECODE

# Nor does what a user has set for other Pythons reach ours.
unexport PYTHONHOME PYTHONPATH PYTHONUSERBASE PYTHONWARNINGS PYTHONSTARTUP PYTHONOPTIMIZE PYTHONINSPECT PYTHONSAFEPATH
export PYTHONNOUSERSITE = 1

# Programs are called as modules of this Python: their scripts name the folder in which they were installed. It ignores the
# variables of other Pythons (-E) and packages of the home (-s); what else runs may see is in jpo_book/hermetic.py.
RUN := .venv/bin/python -E -s


.PHONY: help env book pdf check test test-long test-damages bench links lock clean
help:
	@echo "make env     install the pinned environment into .venv     (ACCELERATOR=cpu, or cuda13 for NVIDIA GPUs)"
	@echo "make book    run all studies and notebooks, build the book (PROFILE=laptop, or smoke, paper, published)"
	@echo "               on a cluster: EXECUTOR=slurm, or kubernetes, or the folder of a Snakemake profile; with GPU=1 for each study"
	@echo "make pdf     the same, and the whole book as one PDF (needs Chromium)"
	@echo "make check   format, lint and type check all code, in seconds"
	@echo "make test    check, then run the tests, a small build of the book included"
	@echo "make test-long  run the tests that take long: the wheel, old readers, hostile settings, damages to a built tree"
	@echo "make bench   measure speed beside other software    (QUICK=1: in three minutes; MACHINE=name-of-the-results)"
	@echo "make links   try all links of the book that leave the site, after make book (needs a network)"
	@echo "make lock    resolve the dependencies of pyproject.toml anew (UPGRADE=1: to their newest versions)"
	@echo "make clean   remove what was built: results, executed notebooks, pages, caches; .venv stays"

env:
	@exec sh workflow/environment.sh "$(ACCELERATOR)"

book: env
	@exec $(RUN) workflow/build.py "$(PROFILE)" "$(EXECUTOR)" "$(GPU)"

pdf: book
	@exec $(RUN) workflow/pdf.py

PYTEST = $(RUN) -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: check
	@exec $(PYTEST) -m "not long and not damages"

test-long: env
	@exec $(PYTEST) -m "long or damages"

# JPO_DAMAGES=number JPO_DAMAGED=path/to/a/built/clone
test-damages: env
	@exec $(PYTEST) -m damages

# All Python: the format, common mistakes, and types. JavaScript: the format.
check: env
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m basedpyright
	@$(RUN) -c 'from clang_format import clang_format; clang_format()' --dry-run --Werror book/assets/*.js
	@echo "make check: all is formatted, linted and type checked"

bench:
	@sh workflow/environment.sh bench
	@exec .venv-bench/bin/python -m benchmarks $(if $(QUICK),--quick) $(if $(MACHINE),--machine "$(MACHINE)")

links: env
	@exec $(RUN) -c "from jupyter_book.cli.main import main; main()" build book --config _config.yml \
		--builder linkcheck --path-output _build/links

LOCK = $(RUN) -m uv pip compile --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-header --no-annotate --quiet $(if $(UPGRADE),--upgrade)
ALL_EXTRAS = pyproject.toml requirements/build.in --extra notebooks --extra book --extra test --extra cluster

lock: env
	@$(LOCK) $(ALL_EXTRAS) --output-file requirements/cpu.lock >/dev/null
	@$(LOCK) $(ALL_EXTRAS) --extra cuda13 --output-file requirements/cuda13.lock >/dev/null
	@$(LOCK) pyproject.toml requirements/build.in --extra notebooks --extra bench --constraints requirements/cpu.lock \
		--output-file requirements/bench.lock >/dev/null
	@$(LOCK) requirements/bootstrap.in --output-file requirements/bootstrap.lock >/dev/null
	@$(LOCK) requirements/oldest.in --output-file requirements/oldest.lock >/dev/null
	@$(RUN) workflow/environment_yml.py

clean:
	@rm -rf _build book/_executed book/_generated .snakemake .cache .pytest_cache
	@echo "make clean: removed everything that was built; .venv stays"
