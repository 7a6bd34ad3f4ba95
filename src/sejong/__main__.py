"""`python -m sejong` is the `sejong` command."""

from sejong.cli import main

if __name__ == "__main__":
    main()
