"""Repeatable measurements, each printing ratios against a named peer measured in the same run."""
