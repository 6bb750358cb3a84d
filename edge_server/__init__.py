"""The edge process: runs layers [p, L), the final norm and the head for many UEs."""
