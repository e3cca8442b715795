package main

// In an image there may be no certificate authorities: these are used where the system
// has none. They are Mozilla's, as of the module's version.
import _ "golang.org/x/crypto/x509roots/fallback"
