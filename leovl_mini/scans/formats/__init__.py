"""The file formats of captures, one short file each; ``scans/load.py`` says how to add one."""
