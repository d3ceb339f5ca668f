package lanyard

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	lanyardv1 "github.com/lanyard/lanyard/client/go/lanyard/v1"
)

const (
	defaultTimeout    = 2 * time.Second
	keepAliveInterval = 30 * time.Second
	keepAliveTimeout  = 10 * time.Second
)

// Option changes what [NewClient] makes.
type Option func(*settings) error

type settings struct {
	apiKey      string
	info        *lanyardv1.ClientInfo
	timeout     time.Duration
	retry       RetryPolicy
	tls         *tls.Config
	dialOptions []grpc.DialOption
}

// WithAPIKey is the key by which Lanyard knows the calling service (`lyk1_...`).
func WithAPIKey(key string) Option {
	return func(s *settings) error {
		for i := range len(key) {
			if key[i] <= ' ' || key[i] > '~' {
				return errors.New("lanyard: the API key holds characters that no key has")
			}
		}
		s.apiKey = key
		return nil
	}
}

// WithCurrentApp is the app in which the users act, for all calls that do not say otherwise.
func WithCurrentApp(app string) Option {
	return func(s *settings) error {
		s.info = &lanyardv1.ClientInfo{CurrentApp: app}
		return nil
	}
}

// WithTimeout is how long a call may take with all its attempts; an earlier deadline of its context counts. Default: 2
// seconds. See [Client.WithTimeout] for single calls.
func WithTimeout(timeout time.Duration) Option {
	return func(s *settings) error {
		if timeout <= 0 {
			return errors.New("lanyard: the timeout must be longer than nothing")
		}
		s.timeout = timeout
		return nil
	}
}

// WithRetry is how reads are tried again. Default: [DefaultRetryPolicy].
func WithRetry(policy RetryPolicy) Option {
	return func(s *settings) error {
		s.retry = policy
		return nil
	}
}

// WithTLS is everything about TLS; needs an https:// endpoint. [WithCA] and [WithClientCertificate] after it change a
// copy of it.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) error {
		s.tls = config.Clone()
		return nil
	}
}

// WithCA is the authority that signed the server's certificate, PEM. Without it the system's authorities count.
func WithCA(pem []byte) Option {
	return func(s *settings) error {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return errors.New("lanyard: the authority has no certificate in PEM")
		}
		s.tlsConfig().RootCAs = pool
		return nil
	}
}

// WithClientCertificate is the certificate, with its chain, by which Lanyard knows the calling service, and its private
// key; both PEM. For one that is replaced while the service runs, use [WithTLS] and its GetClientCertificate.
func WithClientCertificate(certificatePEM, keyPEM []byte) Option {
	return func(s *settings) error {
		certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
		if err != nil {
			return fmt.Errorf("lanyard: the client certificate cannot be used: %w", err)
		}
		config := s.tlsConfig()
		config.Certificates = append(config.Certificates, certificate)
		return nil
	}
}

// WithServerName is the name in the server's certificate, where it is not the host of the endpoint.
func WithServerName(name string) Option {
	return func(s *settings) error {
		s.tlsConfig().ServerName = name
		return nil
	}
}

// WithDialOptions adds options of gRPC: interceptors, stats handlers, a dialer. They come after those of the client.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) error {
		s.dialOptions = append(s.dialOptions, options...)
		return nil
	}
}

func (s *settings) tlsConfig() *tls.Config {
	if s.tls == nil {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return s.tls
}

func (s *settings) connect(endpoint string) (*grpc.ClientConn, error) {
	target, isTLS, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	switch {
	case isTLS:
		transport = credentials.NewTLS(s.tlsConfig())
	case s.tls != nil:
		// Never in the clear what was meant to be encrypted.
		return nil, errors.New("lanyard: certificates need an https:// endpoint")
	}
	config, err := s.retry.serviceConfig()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent("lanyard-go/" + version),
		grpc.WithDefaultServiceConfig(config),
		// What is tried again is not for a DNS record to say.
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: keepAliveInterval, Timeout: keepAliveTimeout, PermitWithoutStream: true,
		}),
	}
	return grpc.NewClient(target, append(options, s.dialOptions...)...)
}

// parseEndpoint makes a gRPC target of `http://host:port` or `https://host:port`.
func parseEndpoint(endpoint string) (target string, isTLS bool, err error) {
	refused := errors.New("lanyard: the endpoint must be http://host:port or https://host:port")
	parsed, err := url.Parse(endpoint)
	if err != nil || parsed.Hostname() == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return "", false, refused
	}
	if parsed.Path != "" && parsed.Path != "/" {
		return "", false, refused
	}
	ports := map[string]string{"http": "80", "https": "443"}
	port, known := ports[parsed.Scheme]
	if !known {
		return "", false, refused
	}
	if parsed.Port() != "" {
		port = parsed.Port()
	}
	return "dns:///" + net.JoinHostPort(parsed.Hostname(), port), parsed.Scheme == "https", nil
}
