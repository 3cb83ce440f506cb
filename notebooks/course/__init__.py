"""The course kit: what a lecturer hands out, and how what comes back is graded.  docs/teaching.md says how to use it.

* ``release``  the students' edition, variants from a seed per student, the solutions as pages, a slide deck per chapter
* ``grade``    points, remarks and feedback; an answer runs in a process of its own, which says values and nothing else

Grading has three processes.  The *grader* reads submissions as text.  The *judge* (``judge.py``) runs the lecturer's checks and never
a line of a student's.  The *answerer* (``answerer.py``) runs one answer, confined (``sandbox.py``), and speaks with the judge in plain
numbers, texts and arrays (``wire.py``): whatever an answer patches, it patches in a process that decides nothing.
"""
