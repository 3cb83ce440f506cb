"""Tools for people who derive gradients on paper."""
