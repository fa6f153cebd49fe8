"""Tests of jobs made of plain functions: in threads, in processes, in interpreters."""
