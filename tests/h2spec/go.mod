module github.com/summerwind/h2spec

go 1.26

require (
	github.com/fatih/color v1.18.0
	github.com/spf13/cobra v1.9.1
	golang.org/x/net v0.45.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/mattn/go-colorable v0.1.13 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	github.com/spf13/pflag v1.0.6 // indirect
	golang.org/x/sys v0.36.0 // indirect
	golang.org/x/text v0.29.0 // indirect
)
