"""The words of the commands of eval.py; light to import."""
