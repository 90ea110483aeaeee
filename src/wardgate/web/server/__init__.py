"""The HTTP server: HTTP/1.1 on llhttp (httptools), HTTP/2 on h2, TLS, deadlines and drain.

docs/adr/0001-http-server.md says why it is built from these parts.
"""

from wardgate.web.server.limits import Limits
from wardgate.web.server.serve import HttpServer, bind
from wardgate.web.server.tls import TlsFiles

__all__ = ["HttpServer", "Limits", "TlsFiles", "bind"]
