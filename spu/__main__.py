"""``python -m spu``."""

from spu.command.main import main

if __name__ == "__main__":
    main()
