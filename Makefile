# `make` lists the targets. Every recipe runs with the project's own Node, which `npm ci` brings.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
ORIGINAL_PATH := $(PATH)
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
NODE := node_modules/.bin/node
STAMP := node_modules/.set-up

.PHONY: help
help: ## List the targets
	@echo 'Holdfast: orders and stock reservations that are right.'
	@echo
	@awk 'BEGIN { FS = ":.*## " } /^[a-z][a-z-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'HOLDFAST_PORT=9080 moves the ports of `make dev`; ORDER=2 INVENTORY=2 run more instances.'
	@echo 'All that may be set for `make dev` and `make compose` is in .env.example.'

.PHONY: set-up
set-up: $(STAMP) ## Install the packages, Node 24 among them (done by the others when needed)

# The stamp is a copy of the lockfile that was installed, so that a mere new date installs nothing.
$(STAMP): package-lock.json
	@if cmp -s package-lock.json $@; then touch $@; else $(MAKE) install; fi

.PHONY: install
install:
	@sh stack/require.sh
	@echo 'installing the packages'
	@PATH='$(ORIGINAL_PATH)' npm ci --no-audit --no-fund --loglevel=error
	@sh stack/require.sh installed
	@cp package-lock.json $(STAMP)

.PHONY: dev
dev: $(STAMP) ## Run the whole system until Ctrl-C, its data kept in .dev/
	@$(NODE) stack/dev.ts

.PHONY: demo
demo: $(STAMP) ## Show what it does, on a stack of its own with throw-away data
	@$(NODE) demo/main.ts

.PHONY: compose
compose: ## Run the whole system in containers, its data kept: Docker is all it needs
	@sh deploy/compose.sh up

.PHONY: compose-demo
compose-demo: ## Show what it does, on the system in containers
	@sh deploy/compose.sh demo

.PHONY: compose-logs
compose-logs: ## Follow what the containers say
	@sh deploy/compose.sh logs

.PHONY: compose-down
compose-down: ## Stop the containers and keep their data
	@sh deploy/compose.sh down

.PHONY: compose-clean
compose-clean: ## Stop the containers, remove their data and images
	@sh deploy/compose.sh clean

.PHONY: bench
bench: $(STAMP) ## Measure it, on durable data: under 8 minutes; SCENARIO=hot,orders chooses
	@$(NODE) bench/main.ts

.PHONY: bench-check
bench-check: $(STAMP) ## Measure it briefly; fails where a ratio is missed by more than a quarter
	@$(NODE) bench/main.ts --quick

.PHONY: plans
plans: $(STAMP) ## Show that every hot statement uses its index, with 1,000,000 rows a table
	@$(NODE) stack/test.ts -- $(NODE) bench/plans.ts

.PHONY: test
test: check ## Check, then run all tests on real parts
	@$(NODE) stack/test.ts -- $(NODE) --test --test-concurrency=2 $(TESTS)

TESTS = 'services/**/*.test.ts' 'libs/**/*.test.ts' 'gateway/**/*.test.ts' 'stack/**/*.test.ts' \
	'demo/**/*.test.ts' 'e2e/**/*.test.ts' 'ops/**/*.test.ts' 'faults/**/*.test.ts' \
	'deploy/**/*.test.ts' 'bench/**/*.test.ts'

.PHONY: audit
audit: $(STAMP) ## Look for anything lost, stuck or contradictory in the stack that runs
	@$(NODE) ops/audit.ts

.PHONY: test-faults
test-faults: $(STAMP) ## Kill, stop and cut everything under load (an hour); FAULTS="killed", FAULT_SEED=7
	@$(NODE) faults/main.ts

.PHONY: dead-letters
dead-letters: $(STAMP) ## List what was put aside; ARGS="show ID", "replay ID", "drop ID WHY"
	@$(NODE) ops/dead-letters.ts $(ARGS)

.PHONY: check
check: $(STAMP) ## Format, lint, types, dead code, contract, house rules
	@$(NODE) tools/check.ts

.PHONY: generate
generate: $(STAMP) ## Make proto/gen anew from the contract
	@$(NODE) tools/generate.ts

.PHONY: format
format: $(STAMP) ## Put the code into its form
	@node_modules/.bin/biome check --write

.PHONY: clean
clean: ## Remove what was installed and all data of `make dev`
	@rm -rf .dev .cache node_modules
