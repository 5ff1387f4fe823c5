#!/bin/sh
# The first session of a new user, offline: every command of the way from a traits document to a dataset.
set -eu
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

test -d demo/advice || say habitus init demo/advice
say habitus check demo/advice
say habitus generate chats demo/advice --preview 1
say habitus generate chats demo/advice
say habitus status demo/advice
rm -f demo/advice/export/chats-trl.jsonl
say habitus export demo/advice chats --format trl
cat <<'END'

Where to look:
  demo/advice/traits.md             the traits document it all came from
  demo/advice/chats/kept.jsonl      the dataset; `habitus show demo/advice` lists it
  demo/advice/chats/dropped.jsonl   what was not kept, and why
  demo/advice/chats/traces.jsonl    every step of every record
To use a real model, set `models:` in demo/advice/config.yaml (or in a study of your own: habitus init NAME).
END
