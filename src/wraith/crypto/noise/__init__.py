"""The Noise protocol framework, revision 34, as a state machine without I/O.

``patterns`` holds the tables, ``symmetric`` the two inner objects of the specification,
``handshake`` the ``HandshakeState`` and the form that this protocol's suites use. Names follow the
Noise text.

Spec: crypto §11; noiseprotocol.org, revision 34; Noise HFS extension.
"""

from wraith.crypto.noise.handshake import HandshakeState, KeyPair, for_suite
from wraith.crypto.noise.symmetric import CipherState

__all__ = ["CipherState", "HandshakeState", "KeyPair", "for_suite"]
