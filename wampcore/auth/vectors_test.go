package auth_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/wampgate/wampgate/wampcore/auth"
)

const craChallenge = `{ "nonce": "LHRTC9zeOIrt_9U3", "authprovider": "userdb", "authid": "peter", "timestamp": "2014-06-22T16:36:25.448Z", "authrole": "user", "authmethod": "wampcra", "session": 3251278072152162}`

func TestCRASignsAsOthersDo(t *testing.T) {
	if got := auth.CRASignature("secret1", craChallenge); got != "g3rbrS3LXjzaG0ZMGw5j6di+rkK5pbpkzm2R8O7LfxQ=" {
		t.Errorf("got %s", got)
	}
	key, err := auth.CRASalt{Salt: "salt123"}.Key("secret1")
	if err != nil || key != "64xfzBvZhGDT7PB0bQwDeI8/WR1M9x6Cw5dt0yP9koc=" {
		t.Errorf("got %s, %v", key, err)
	}
	if got := auth.CRASignature(key, craChallenge); got != "QOHdDPVpF0yfu50oO35WjoVN0CYN2Jwm+IY5YyRbKLk=" {
		t.Errorf("salted: got %s", got)
	}
	for _, s := range []auth.CRASalt{{Iterations: -1}, {KeyLen: -1}, {Iterations: 1 << 40}, {KeyLen: 1 << 30}} {
		if _, err := s.Key("secret1"); err == nil {
			t.Errorf("%+v was computed", s)
		}
	}
}

func b64(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestSCRAMComputesWhatOthersDo(t *testing.T) {
	aa := bytes.Repeat([]byte{0xaa}, 32)
	wamp := auth.SCRAMParams{KDF: auth.KDFPBKDF2, Salt: b64(t, "aBc+fx0NAVA="), Iterations: 4096}
	argon := auth.SCRAMParams{KDF: auth.KDFArgon2, Salt: wamp.Salt, Iterations: 2, Memory: 65536}
	exchange := auth.SCRAMExchange{AuthID: "user", ClientNonce: "egVDf3DMJh0=", ServerNonce: "egVDf3DMJh0=SBmkFIh7sSo="}
	bound := exchange
	bound.ChannelBinding, bound.CBindData = "tls-exporter", aa
	rfc7677 := auth.SCRAMExchange{
		AuthID: "user", ClientNonce: "rOprNGfwEbeRWgbNEkqO", ServerNonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	}
	for name, c := range map[string]struct {
		p                       auth.SCRAMParams
		x                       auth.SCRAMExchange
		proof, verifier, stored string
	}{
		"RFC 7677": {
			auth.SCRAMParams{KDF: auth.KDFPBKDF2, Salt: b64(t, "W22ZaJ0SNY7soEsUEjb6gQ=="), Iterations: 4096},
			rfc7677,
			"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
		},
		"PBKDF2": {wamp, exchange, "L1uwjEEL7BdbtlWMKxNcQ1A/CmNjct+7xdAguB/rpnA=", "AyTAljdPHv74Zx+gn+6DqiFnl4XOZUXpC7k/pSkjBOg=", ""},
		"bound":  {wamp, bound, "iWqMo5mk8Yckni5DJEtelmrGHHtbqGeWbEqCQVX0OwY=", "p0x4Q3WpL03DBDB2u0MFAefk29OUCi2y+ka6wuK9v68=", ""},
		"Argon2": {
			argon, exchange, "Xi5sM5bc28GKBzMeCc2tqyIk96D0wjxEHZs6KXrXPzk=", "4x5CxJes59XwdZwr0sf/YDAfO3i+XfiUIdWcr+xZSAo=",
			"Fp9u+hoIwzbOP7AaCH/UpyBx8zUnBBgY3XbO69C76tE=",
		},
	} {
		c.x.Salt, c.x.Iterations = c.p.Salt, c.p.Iterations
		proof, verifier, err := auth.SCRAMProof("pencil", c.p, &c.x)
		if err != nil || !bytes.Equal(proof, b64(t, c.proof)) || !bytes.Equal(verifier, b64(t, c.verifier)) {
			t.Errorf("%s: got %x, %x, %v", name, proof, verifier, err)
		}
		stored, err := auth.NewSCRAMCredential("pencil", c.p)
		if err != nil || c.stored != "" && !bytes.Equal(stored.StoredKey, b64(t, c.stored)) {
			t.Errorf("%s: got %+v, %v", name, stored, err)
		}
		if v, ok := stored.Verify(proof, &c.x); !ok || !bytes.Equal(v, verifier) {
			t.Errorf("%s: the router does not take the proof", name)
		}
		wrong, _, err := auth.SCRAMProof("pencils", c.p, &c.x)
		if _, ok := stored.Verify(wrong, &c.x); ok || err != nil {
			t.Errorf("%s: another password is taken: %v", name, err)
		}
		other := c.x
		other.ServerNonce += "x"
		if _, ok := stored.Verify(proof, &other); ok {
			t.Errorf("%s: a proof of another exchange is taken", name)
		}
	}
}

func TestSCRAMRefusesCheapAndAbsurdParameters(t *testing.T) {
	for _, p := range []auth.SCRAMParams{
		{},
		{KDF: "md5", Iterations: 5000},
		{KDF: auth.KDFPBKDF2, Iterations: 1},
		{KDF: auth.KDFPBKDF2, Iterations: 1 << 30},
		{KDF: auth.KDFArgon2, Iterations: 1, Memory: 8},
		{KDF: auth.KDFArgon2, Iterations: 1, Memory: 1 << 30},
		{KDF: auth.KDFArgon2, Iterations: -1, Memory: -8 << 20},
	} {
		if _, err := auth.NewSCRAMCredential("pencil", p); err == nil {
			t.Errorf("%+v was computed", p)
		}
	}
	if _, err := auth.NewSCRAMCredential("pen\u0007cil", auth.SCRAMParams{KDF: auth.KDFPBKDF2, Iterations: 4096}); err == nil {
		t.Error("a password with a control character was taken")
	}
}

func TestCryptosignSignsAsTheRFCDoes(t *testing.T) {
	unhex := func(text string) []byte {
		t.Helper()
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	keys := map[string]string{ // private to public
		"4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510": "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d",
		"d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd": "6ed32739ff04a6074044ff0b0e3bfc7c856bc9d5f1d25efc57363bda0af3a8b0",
		"6e1fde9cf9e2359a87420b65a87dc0c66136e66945196ba2475990d8a0c3a25b": "28e11f427b82b9a625ee7ac89a7d29326b505f2dc11dd88c1245f83b6da79a85",
	}
	const channel = "62e935ae755f3d48f80d4d59f6121358c435722a67e859cc0caa8b539027f2ff"
	for _, v := range []struct{ channel, key, challenge, signature string }{
		{"", "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510", strings.Repeat("ff", 32), "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0cae80a357331bfc5cc9fb71081464e6e75013517c2cf067ad566a6b7b728e5d03" + strings.Repeat("ff", 32)},
		{"", "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd", "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d", "d4209ad10d5aff6bfbc009d7e924795de138a63515efc7afc6b01b7fe5201372190374886a70207b042294af5bd64ce725cd8dceb344e6d11c09d1aaaf4d660fb26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d"},
		{"", "6e1fde9cf9e2359a87420b65a87dc0c66136e66945196ba2475990d8a0c3a25b", "b05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2", "7beb282184baadd08f166f16dd683b39cab53816ed81e6955def951cb2ddad1ec184e206746fd82bda075af03711d3d5658fc84a76196b0fa8d1ebc92ef9f30bb05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2"},
		{channel, "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510", strings.Repeat("ff", 32), "9b6f41540c9b95b4b7b281c3042fa9c54cef43c842d62ea3fd6030fcb66e70b3e80d49d44c29d1635da9348d02ec93f3ed1ef227dfb59a07b580095c2b82f80f9d16ca518aa0c2b707f2b2a609edeca73bca8dd59817a633f35574ac6fd80d00"},
		{channel, "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd", "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d", "305aaa3ac25e98f651427688b3fc43fe7d8a68a7ec1d7d61c61517c519bd4a427c3015599d83ca28b4c652333920223844ef0725eb5dc2febfd6af7677b73f01d0852a29b460fc92ec943242ac638a053bbacc200512b18b30d15083cbdc9282"},
		{channel, "6e1fde9cf9e2359a87420b65a87dc0c66136e66945196ba2475990d8a0c3a25b", "b05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2", "ee3c7644fd8070532bc1fde3d70d742267da545d8c8f03e63bda63f1ad4214f4d2c4bfdb4eb9526def42deeb7e31602a6ff99eba893e0a4ad4d45892ca75e608d2b75e24a189a7f78ca776ba36fc53f6c3e31c32f251f2c524f0a44202f2902d"},
	} {
		key, challenge, id := ed25519.NewKeyFromSeed(unhex(v.key)), unhex(v.challenge), unhex(v.channel)
		got, err := auth.CryptosignSignature(key, challenge, id)
		if err != nil || got != v.signature {
			t.Errorf("got %s, %v", got, err)
		}
		public := ed25519.PublicKey(unhex(keys[v.key]))
		if !auth.VerifyCryptosign(public, v.signature, challenge, id) {
			t.Error("the RFC's signature is not taken")
		}
		other := bytes.Clone(challenge)
		other[0] ^= 1
		if auth.VerifyCryptosign(public, v.signature, other, id) {
			t.Error("a signature over another challenge is taken")
		}
		if auth.VerifyCryptosign(public, v.signature, challenge, other) {
			t.Error("a signature of another channel is taken")
		}
		for i := range len(v.signature) / 2 {
			broken := unhex(v.signature)
			broken[i] ^= 1
			if auth.VerifyCryptosign(public, hex.EncodeToString(broken), challenge, id) {
				t.Fatalf("a signature with octet %d changed is taken", i)
			}
		}
	}
	for _, bad := range []string{"", "xx", strings.Repeat("00", 95), strings.Repeat("00", 97)} {
		if auth.VerifyCryptosign(make([]byte, 32), bad, make([]byte, 32), nil) {
			t.Errorf("%q is taken", bad)
		}
	}
}
