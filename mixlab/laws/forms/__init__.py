"""The functional forms and the solvers that fit them. Comes in: points with losses, and weights of rows."""
