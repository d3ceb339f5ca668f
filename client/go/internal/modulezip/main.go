// Command modulezip packs this module as a module proxy serves it (go.dev/ref/mod#module-proxy), so that the tests can
// install it as a stranger does:
//
//	go run ./internal/modulezip FOLDER VERSION
package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const module = "github.com/lanyard/lanyard/client/go"

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: modulezip FOLDER VERSION")
		os.Exit(2)
	}
	if err := serve(filepath.Join(os.Args[1], filepath.FromSlash(module), "@v"), os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "modulezip:", err)
		os.Exit(1)
	}
}

// serve writes what a proxy answers about the version.
func serve(folder, version string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"list":            version + "\n",
		version + ".info": fmt.Sprintf(`{"Version": %q}`, version),
		version + ".mod":  string(goMod),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	file, err := os.Create(filepath.Join(folder, version+".zip"))
	if err != nil {
		return err
	}
	return errors.Join(pack(file, module+"@"+version+"/"), file.Close())
}

// pack writes the files of the module, and not those of modules inside it.
func pack(to io.Writer, prefix string) error {
	archive := zip.NewWriter(to)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(path)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		into, err := archive.Create(prefix + filepath.ToSlash(path))
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = into.Write(content)
		return err
	})
	return errors.Join(err, archive.Close())
}

func enter(path string) error {
	if path == "." {
		return nil
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	if err == nil || strings.HasPrefix(filepath.Base(path), ".") {
		return filepath.SkipDir
	}
	return nil
}
