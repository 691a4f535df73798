"""What the validate stage looks at (``inspection``) and how it judges that (``expectations``)."""
