"""A broker with sign-in and TLS beside its plain listener, and the certificates for it, made by openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from tests.kafka_cluster import Cluster, free_ports

USER, PASSWORD = "tape", "secret"
_LOGIN = "org.apache.kafka.common.security"


def token(user: str = USER) -> str:
    """A bearer token as the broker of tests takes it, unsigned."""
    claims = {"sub": user, "iat": 1_700_000_000, "exp": 4_800_000_000}
    parts = [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({"alg": "none"}, claims)
    ]
    return ".".join([*parts, ""])


class Secure:
    """``plain``, ``signed`` (SASL over TLS) and ``mutual`` (TLS with client certificates) are addresses of one broker.

    The certificate is for 127.0.0.1 alone, not for localhost.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        plain, controller, signed, mutual = free_ports(4)
        self.plain, self.signed, self.mutual = (f"127.0.0.1:{port}" for port in (plain, signed, mutual))
        self.ca, self.cert, self.key = (str(folder / name) for name in ("ca.pem", "client.pem", "client.key"))
        self._certify()
        self.cluster = Cluster(folder / "kafka", ports=[plain, controller], extra=self._properties(controller))

    def _certify(self) -> None:
        script = """
            exec 2>openssl.log
            openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj "/CN=tests"
            echo subjectAltName=IP:127.0.0.1 > names
            for one in broker client; do
              openssl req -newkey rsa:2048 -nodes -keyout $one.key -out $one.csr -subj "/CN=$one"
              openssl x509 -req -in $one.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $one.pem -days 30 -extfile names
            done
            cat broker.key broker.pem > broker.all
        """
        done = subprocess.run(["sh", "-ec", script], cwd=self._folder)
        assert done.returncode == 0, (self._folder / "openssl.log").read_text()

    def _properties(self, controller: int) -> dict[str, object]:
        reached = f"PLAINTEXT://{self.plain},SIGNED://{self.signed},MUTUAL://{self.mutual}"
        signed = "listener.name.signed"
        return {
            "listeners": f"{reached},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": reached,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SIGNED:SASL_SSL,MUTUAL:SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._folder / "broker.all",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca,
            "listener.name.mutual.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
            f"{signed}.plain.sasl.jaas.config": f'{_LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            f"{signed}.scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
            f"{signed}.oauthbearer.sasl.jaas.config": f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule required "
            f'unsecuredLoginStringClaim_sub="{USER}";',
            f"{signed}.oauthbearer.sasl.server.callback.handler.class": f"{_LOGIN}.oauthbearer.internals.unsecured."
            "OAuthBearerUnsecuredValidatorCallbackHandler",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{USER};User:CN=client",
        }

    def admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.plain)

    def enrol(self, user: str) -> None:
        """Gives a user the password for SCRAM-SHA-512."""
        admin = self.admin()
        try:
            admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, PASSWORD)]
            )
        finally:
            admin.close()

    def __enter__(self) -> Secure:
        self.cluster.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.cluster.kill()
