"""Models as judges of answers, and whether they judge as people do."""
