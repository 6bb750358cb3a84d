"""The paper's Table 3 and Fig. 3 and 5-9, with the optimum beside them; see docs/reproduce.md."""
