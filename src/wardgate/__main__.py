"""`python -m wardgate` is the same as the `wardgate` command."""

from wardgate.cli import main

if __name__ == "__main__":
    main()
