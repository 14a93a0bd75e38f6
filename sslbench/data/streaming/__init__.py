"""Image sets that outgrow the device: read while they are used, by processes of their own."""
