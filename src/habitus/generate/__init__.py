"""From a trait to rows: plans, documents, chats, preference pairs, and the removal of near-duplicates."""
