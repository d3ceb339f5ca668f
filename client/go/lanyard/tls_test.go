package lanyard_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/lanyard/lanyard/client/go/internal/fake"
	"github.com/lanyard/lanyard/client/go/lanyard"
)

// authority signs the certificates of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	made := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	var der []byte
	der, made.key = sign(t, template, nil)
	made.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	var err error
	if made.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return made
}

// issue makes a certificate for a name, and its key; both PEM.
func (a *authority) issue(t *testing.T, name string) (certificatePEM, keyPEM []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour),
	}
	der, key := sign(t, template, a)
	bytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})
}

func sign(t *testing.T, template *x509.Certificate, by *authority) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, parentKey := template, key
	if by != nil {
		parent, parentKey = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// secured is a server with the name `lanyard.example` that wants a certificate of its callers. It tells whose it is.
func secured(t *testing.T, ca *authority) *fake.Server {
	t.Helper()
	certificate, err := tls.X509KeyPair(ca.issue(t, "lanyard.example"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
	}
	return fake.StartTLS(t, config, func(ctx context.Context, _ fake.Call) (proto.Message, error) {
		answer := fake.Good()
		from, _ := peer.FromContext(ctx)
		answer.GetSession().Username = "nobody"
		if shown := from.AuthInfo.(credentials.TLSInfo).State.PeerCertificates; len(shown) > 0 {
			answer.GetSession().Username = shown[0].Subject.CommonName
		}
		return answer, nil
	})
}

func callerSeen(t *testing.T, server *fake.Server, options ...lanyard.Option) (string, error) {
	t.Helper()
	options = append(options, lanyard.WithServerName("lanyard.example"))
	client, err := lanyard.NewClient("https://"+server.Address, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	session, err := client.Verify(t.Context(), ust)
	if err != nil {
		return "", err
	}
	return session.Username, nil
}

func TestAServerIsKnownByItsAuthorityAndACallerByItsCertificate(t *testing.T) {
	ca := newAuthority(t)
	server := secured(t, ca)
	if seen, err := callerSeen(t, server, lanyard.WithCA(ca.pem)); seen != "nobody" || err != nil {
		t.Errorf("%q, %v", seen, err)
	}
	certificate, key := ca.issue(t, "crm")
	if seen, err := callerSeen(t, server, lanyard.WithCA(ca.pem), lanyard.WithClientCertificate(certificate, key)); seen != "crm" || err != nil {
		t.Errorf("%q, %v", seen, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	if seen, err := callerSeen(t, server, lanyard.WithTLS(&tls.Config{RootCAs: pool})); seen != "nobody" || err != nil {
		t.Errorf("%q, %v", seen, err)
	}
}

func TestAServerOfAnotherAuthorityIsNotTrusted(t *testing.T) {
	server := secured(t, newAuthority(t))
	for name, options := range map[string][]lanyard.Option{
		"another":    {lanyard.WithCA(newAuthority(t).pem)},
		"the system": nil,
	} {
		if seen, err := callerSeen(t, server, options...); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %q, %v", name, seen, err)
		}
	}
	if got := len(server.Calls()); got != 0 {
		t.Errorf("%d calls", got)
	}
}

func TestCertificatesAreNeverForgottenOnAConnectionInTheClear(t *testing.T) {
	ca := newAuthority(t)
	certificate, key := ca.issue(t, "crm")
	for _, option := range []lanyard.Option{
		lanyard.WithCA(ca.pem), lanyard.WithClientCertificate(certificate, key), lanyard.WithServerName("lanyard"),
		lanyard.WithTLS(&tls.Config{}),
	} {
		if _, err := lanyard.NewClient("http://127.0.0.1:1", option); err == nil || !strings.Contains(err.Error(), "https://") {
			t.Error(err)
		}
	}
}

func TestWhatCannotBeUsedIsRefusedAndSecretsAreNotRepeated(t *testing.T) {
	key := bytes.Repeat([]byte("secret"), 3)
	for name, option := range map[string]lanyard.Option{
		"authority":        lanyard.WithCA([]byte("no PEM")),
		"certificate":      lanyard.WithClientCertificate([]byte("no PEM"), key),
		"key with newline": lanyard.WithAPIKey("secret\n"),
		"key with space":   lanyard.WithAPIKey("se cret"),
		"key of letters":   lanyard.WithAPIKey("secrét"),
		"timeout":          lanyard.WithTimeout(0),
		"backoff":          lanyard.WithRetry(lanyard.RetryPolicy{MaxAttempts: 2}),
	} {
		_, err := lanyard.NewClient("https://127.0.0.1:1", option)
		if err == nil || strings.Contains(err.Error(), "se") && strings.Contains(err.Error(), "cr") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoEndpointIsRefused(t *testing.T) {
	for _, endpoint := range []string{
		"", "127.0.0.1:50051", "ftp://127.0.0.1", "http://", "not an address", "http://host/path", "http://user:secret@host", "http://host?query",
	} {
		_, err := lanyard.NewClient(endpoint)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	for _, endpoint := range []string{"http://host", "https://host:1", "http://[::1]:50051/"} {
		if _, err := lanyard.NewClient(endpoint); err != nil {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
