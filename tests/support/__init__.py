"""What the tests share: ground truth taken with os alone, children to break things in, real refusals."""
