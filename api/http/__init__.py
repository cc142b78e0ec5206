"""All code that uses FastAPI or Starlette: the application, the guard, request bodies, streams."""
