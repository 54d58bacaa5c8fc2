"""Operations that cannot leave a root. Nothing but the standard library is imported here."""
