"""The interface for software: HL7 FHIR R4 (4.0.1) over https, after the PDSM profiles (ANS) of IHE MHD.

Rules:
1. Who asks is proven anew for each request, by a token or a client certificate: there are no sessions and no cookies.
2. A matricule comes in the body of a POST, never in a URL; what identifies in URLs is opaque.
3. Nothing is given out before the access is in the journal, with the rule that allowed it. Refused ones are there too.
4. Errors are OperationOutcome: a code, a constant sentence, a rule's name; nothing of what was sent comes back.
5. The routes, the CapabilityStatement and the OpenAPI description come from one table (`routes`).
"""
