# The commands of the course; `make` alone lists them. Each first makes .venv from requirements.txt, when there is none,
# when it is not whole, or when requirements.txt has changed. Without make: docs/install.md.

# What may make .venv: the Python that made it before, or else the first of these that fits.
PYTHON ?= $(shell sed -n 's/^executable = //p' .venv/pyvenv.cfg 2>/dev/null) python3 python3.13 python3.12 python3.11
VENV_PYTHON = .venv/bin/python
FITS = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# JupyterLab reads these settings beside the user's own: it asks no other host for news or updates.
LAB = JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	$(VENV_PYTHON) -m jupyterlab --ServerApp.root_dir=learn --LabApp.default_url=/lab/tree/01_freeze_basics.ipynb
ifeq ($(shell id -u),0)
LAB += --allow-root
endif

.DEFAULT_GOAL = help
.PHONY: help lab fresh test test-slow run refresh bench bench-gpu publish unpublish colab editions site clean again

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  make lab LAB_ARGS="--port=8899 --no-browser"   gives JupyterLab more arguments'
	@echo '  make editions EDITIONS="student+torch"         makes these only (see TEACHING.md)'
	@echo '  make lab PYTHON=python3.12                     makes .venv with that Python (3.11 to 3.13)'

lab: .venv/made  ## open the course in JupyterLab, in copies that are yours: learn/
	@$(VENV_PYTHON) -m tools.learn
	@$(LAB) $(LAB_ARGS)

fresh: .venv/made  ## a new copy of one notebook in learn/, yours is kept beside it: make fresh NOTEBOOK=03
	@$(VENV_PYTHON) -m tools.learn "$$NOTEBOOK"

test: .venv/made  ## check the style, run all tests, run all notebooks and compare their outputs
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m pytest

test-slow: .venv/made  ## what takes minutes: JupyterLab in Chromium, Colab's versions, every edition, a real .venv
	$(VENV_PYTHON) -m pytest -m slow tests

run: .venv/made  ## execute all notebooks into build/notebooks, with a table of what they took
	@$(VENV_PYTHON) -m tools.refresh --to build/notebooks

refresh: .venv/made  ## the same, but store the outputs in the notebooks, and what the pages show of them
	@$(VENV_PYTHON) -m tools.refresh

bench: .venv/made  ## measure times and memory, as ratios, in under 10 minutes (leave the machine alone)
	@$(VENV_PYTHON) -m tools.bench

bench-gpu: .venv/made  ## what freezing saves on a CUDA GPU, at real sizes, into build/gpu.json (some minutes)
	@$(VENV_PYTHON) -m tools.bench.gpu

publish: .venv/made  ## write into the course where it is published: make publish REPO=owner/name TAG=v1
	@$(VENV_PYTHON) -m tools.publish "$$REPO" "$$TAG"

unpublish: .venv/made  ## take that out again
	@$(VENV_PYTHON) -m tools.publish --undo

colab: .venv/made  ## make build/for_colab: each notebook in one file that carries the course, to upload to Colab
	@$(VENV_PYTHON) -m tools.colab

editions: .venv/made  ## copies for students, for instructors, and for one framework, into build/editions
	@$(VENV_PYTHON) -m tools.editions $(EDITIONS)

site: .venv/made  ## all notebooks as pages that need no network, into build/site
	@$(VENV_PYTHON) -m tools.site

clean:  ## remove .venv and build; learn/ stays
	rm -rf .venv build

# Its last step is the file .venv/made: without it, or with a Python that does not start, all is made anew.
.venv/made: requirements.txt $(if $(wildcard .venv/made),$(shell $(VENV_PYTHON) -c "" 2>/dev/null || echo again))
	@for python in $(PYTHON); do $$python -c '$(FITS)' 2>/dev/null && break; python=; done; \
	if [ -z "$$python" ]; then \
		echo 'The course needs Python 3.11, 3.12 or 3.13 with its venv module, and none of these is one: $(PYTHON);' \
			'install one (Debian, Ubuntu: sudo apt install python3-venv), or name it: make lab PYTHON=python3.12' >&2; \
		exit 1; \
	fi; \
	echo "Making .venv with $$python from requirements.txt: some minutes and about 4 GB of disk, once." >&2; \
	$$python -m venv --clear .venv && \
	$(VENV_PYTHON) -m pip install --disable-pip-version-check -r requirements.txt && \
	{ $(VENV_PYTHON) -m tools.minilm || true; } && touch $@ || { \
		echo '.venv is not whole (the error is above): look at the network and the free disk space, then run make again' >&2; \
		exit 1; \
	}
