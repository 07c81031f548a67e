.PHONY: help up down clean status demo chaos chaos-selftest test

help: ## list the verbs (the default)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

up: ## start the local stack and wait until every server answers; safe to run again
	@stack/server up

down: ## stop the local stack; its data stays
	@stack/server down

clean: ## stop the local stack and remove its data
	@stack/server clean

status: ## say which server runs
	@stack/server status

demo: ## the whole path on real servers, compared row by row
	@stack/demo

chaos: ## every fault of docs/reliability.md many times over, with its figures
	@stack/chaos

chaos-selftest: ## prove that those runs notice defects
	@stack/chaos selftest

test: ## set up what tests need and pass all of them
	@stack/test
