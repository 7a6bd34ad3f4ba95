# 세종 · sejong. `make` 를 치면 할 수 있는 일이 나옵니다 · type `make` to see what there is.
# Needs Python 3.11 or newer, and a network the first time. Everything lands in .venv and .tools.

.DEFAULT_GOAL := help
.PHONY: help up doctor test check bench docs sync clean browser
.NOTPARALLEL:

PYTHON ?= python3
UV_VERSION := 0.13.9
# A shim that only says "not installed here" does not count as uv.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/bin/uv)
BIN := .venv/bin
# What the environment is made from. The two stamps: enough to run the city, and everything for working on it.
SOURCES := $(wildcard pyproject.toml uv.lock hatch_build.py frontend/package.json frontend/package-lock.json)
RUN_STAMP := .venv/.sejong-run
DEV_STAMP := .venv/.sejong-dev
# An environment that is active in the caller's shell is not ours.
unexport VIRTUAL_ENV

help: ## 이 목록 · this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  (예 · e.g.)   make up ARGS="--port 8080 --speed 60"'

up: $(RUN_STAMP) ## 도시를 켭니다: http://localhost:8000 · bring the city to life
	@exec $(BIN)/sejong up $(ARGS)

doctor: $(RUN_STAMP) ## 무엇이 문제인지 · say what is wrong and how to mend it
	@exec $(BIN)/sejong doctor $(ARGS)

test: $(DEV_STAMP) browser ## 모든 시험 · every test (SEJONG_NO_BROWSER=1: 브라우저 없이 · without a browser)
	@if [ "$${SEJONG_NO_BROWSER:-}" = 1 ]; then set -- -m "not browser"; else set --; fi; \
	exec $(BIN)/pytest -q -n auto --maxprocesses=2 --dist loadfile --no-loadscope-reorder "$$@" $(ARGS)

check: $(DEV_STAMP) ## 코드 규칙과 타입, 구조 · style, types, structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture

bench: $(DEV_STAMP) ## 속도를 잽니다 · measure
	$(UV) sync --frozen --inexact --group bench
	$(BIN)/python -m bench $(ARGS)

docs: $(DEV_STAMP) ## 코드에서 나오는 문서를 새로 씁니다 · write the documents that come from code
	$(BIN)/sejong settings > docs/settings.md
	$(BIN)/sejong openapi docs/openapi.json
	@if [ -f mkdocs.yml ]; then $(UV) sync --frozen --inexact --group docs && $(BIN)/mkdocs build -q; fi

sync: $(DEV_STAMP) ## 개발 환경만 갖춥니다 · only set up the environment

clean: ## 만들어진 것을 지웁니다 (도시 자료 state/는 남김) · remove what was made, keep state/
	rm -rf .venv .tools dist build site .pytest_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis .schemathesis
	rm -rf src/sejong/portal/static/vendor frontend/.for-tests
	find src tests -name __pycache__ -prune -exec rm -rf {} +
	rm -rf /dev/shm/sejong-template-$$(id -u)-*

# Network is needed only when one of SOURCES changed since.
$(RUN_STAMP): $(SOURCES) | $(UV)
	$(UV) sync --frozen --inexact --no-dev
	@touch $@

$(DEV_STAMP): $(SOURCES) | $(UV)
	$(UV) sync --frozen
	@touch $(RUN_STAMP) $@

.tools/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "파이썬 3.11 이상이 필요합니다 · Python 3.11 or newer is needed (make PYTHON=python3.12 ...)" >&2; exit 1; }
	@echo "uv $(UV_VERSION)"
	@if $(PYTHON) -m venv .tools >/dev/null 2>&1; then .tools/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION); \
	else rm -rf .tools && $(PYTHON) -m pip install -q --disable-pip-version-check --target .tools/lib uv==$(UV_VERSION) \
	  && mkdir -p .tools/bin && ln -s ../lib/bin/uv .tools/bin/uv; fi

# The browser tests use Debian's chromium with a font that has Hangul. Nothing is installed that is already there.
browser:
	@[ "$${SEJONG_NO_BROWSER:-}" = 1 ] && exit 0; \
	command -v chromium >/dev/null && ls /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc >/dev/null 2>&1 && exit 0; \
	if ! command -v apt-get >/dev/null; then AS=; \
	elif [ "$$(id -u)" = 0 ]; then AS=env; \
	elif sudo -n true 2>/dev/null; then AS="sudo -n env"; \
	else AS=; fi; \
	if [ -z "$$AS" ]; then \
	  echo "chromium과 fonts-noto-cjk가 없어 브라우저 시험은 실패합니다. 설치하거나 SEJONG_NO_BROWSER=1 로 건너뛰세요."; \
	  echo "Without chromium and fonts-noto-cjk the browser tests will fail. Install them, or skip with SEJONG_NO_BROWSER=1."; \
	  exit 0; \
	fi; \
	echo "chromium, fonts-noto-cjk ..."; LOG=$$(mktemp); \
	{ $$AS apt-get update -qq && $$AS DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    chromium fonts-noto-cjk; } </dev/null >"$$LOG" 2>&1 || tail -5 "$$LOG"; \
	rm -f "$$LOG"
