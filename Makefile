# The commands of the course; `make` alone lists them. Each first makes .venv from requirements.txt, when there is none
# or when it is not whole. Without make: README.md.

# The Python that makes .venv: the one that made it before, or else the first that really runs and fits. If none fits,
# make_venv.py says so in one sentence.
PYTHON ?= $(shell \
	for python in $$(sed -n 's/^executable = //p' .venv/pyvenv.cfg 2>/dev/null) \
			python3 python3.13 python3.12 python3.11; do \
		$$python tools/make_venv.py --fits 2>/dev/null && echo $$python && exit; \
	done; echo python3)
VENV_PYTHON = .venv/bin/python

# JupyterLab reads these settings beside the user's own: it asks no other host for news or updates.
LAB = JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	$(VENV_PYTHON) -m jupyterlab --ServerApp.root_dir=notebooks
ifeq ($(shell id -u),0)
LAB += --allow-root
endif

.DEFAULT_GOAL = help
.PHONY: help lab test test-slow run refresh bench stamp unstamp colab editions html clean venv

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18
	@echo
	@echo '  make lab LAB_ARGS="--port=8899 --no-browser"   gives JupyterLab more arguments'
	@echo '  make editions EDITIONS="student+torch"         makes these only (see TEACHING.md)'
	@echo '  make lab PYTHON=python3.12                     makes .venv with that Python (3.11 to 3.13)'

lab: venv  ## open the course in JupyterLab
	@$(LAB) $(LAB_ARGS)

test: venv  ## check the style, run all tests, run all notebooks and compare their outputs
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m pytest

test-slow: venv  ## what takes minutes: JupyterLab in Chromium, Colab's versions, every edition, grading
	$(VENV_PYTHON) -m pytest -m slow tests

run: venv  ## execute all notebooks into build/notebooks, with a table of what they took
	@$(VENV_PYTHON) -m tools.run_notebooks

refresh: venv  ## the same, and store the outputs in the notebooks (before a commit)
	@$(VENV_PYTHON) -m tools.run_notebooks --in-place
	@$(VENV_PYTHON) -m tools.readme

bench: venv  ## measure times and memory, as ratios, in under 10 minutes (leave the machine alone)
	@$(VENV_PYTHON) tools/bench

stamp: venv  ## write into the course where it is published: make stamp REPO=owner/name TAG=v1
	@$(VENV_PYTHON) -m tools.stamp --repo="$$REPO" --tag="$$TAG"

unstamp: venv  ## take that out again
	@$(VENV_PYTHON) -m tools.stamp --unstamp

colab: venv  ## make build/for_colab: each notebook in one file that carries the course, to upload to Colab
	@$(VENV_PYTHON) -m tools.colab

editions: venv  ## copies for students, for instructors, and for one framework, into build/editions
	@$(VENV_PYTHON) -m tools.editions $(EDITIONS)

html: venv  ## all notebooks as pages that need no network, into build/html
	@$(VENV_PYTHON) -m tools.editions.html

clean:  ## remove .venv and build
	rm -rf .venv build

venv:
	@python="$(PYTHON)"; "$$python" -c "" 2>/dev/null || { \
		echo "$$python does not start: install Python 3.11, 3.12 or 3.13, or name it: make lab PYTHON=python3.12" >&2; \
		exit 1; }; \
	"$$python" tools/make_venv.py
