"""Export trained networks to other formats, compare them with torch on real images, and time both."""
