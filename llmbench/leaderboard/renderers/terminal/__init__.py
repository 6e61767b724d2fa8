"""What a terminal needs: tables that fit its width, and links."""
