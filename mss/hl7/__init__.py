"""The door for hospital software that speaks HL7 version 2."""
