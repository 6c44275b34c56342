"""`panoweave doctor`: checks of everything a panorama needs, and a table of what they found."""
