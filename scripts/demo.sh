#!/bin/sh
# The first session of a new user, offline: every command of the way from a traits document to a dataset.
set -eu
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

test -d demo/advice || say habitus init demo/advice
say habitus check demo/advice
say habitus generate chats demo/advice --preview 1
say habitus generate chats demo/advice
say habitus generate documents demo/advice --count 60
say habitus generate preferences demo/advice --count 60
say habitus audit demo/advice
say habitus report demo/advice
say habitus status demo/advice
rm -f demo/advice/export/chats-trl.jsonl
say habitus export demo/advice chats --format trl
say habitus card demo/advice documents
cat <<'END'

Where to look:
  demo/advice/report/index.html     all of it on one page
  demo/advice/traits.md             the traits document it all came from
  demo/advice/chats/kept.jsonl      chats; `habitus show demo/advice --dataset chats` lists them
  demo/advice/documents/kept.jsonl  documents, and their card: documents/README.md
  demo/advice/preferences/kept.jsonl  pairs
    …/dropped.jsonl                 what was not kept, and why
    …/traces.jsonl                  every step of every record
  demo/advice/audit/chats/report.html   what is over-represented in the chats, with quotations
To use a real model, set `models:` in demo/advice/config.yaml (or in a study of your own: habitus init NAME).
END
