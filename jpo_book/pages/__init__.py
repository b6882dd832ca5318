"""What the pages of the book are made of: tables, the files of benchmarks, the ledger of all items."""
